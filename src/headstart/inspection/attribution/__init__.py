"""Attribution: which parts of an image an answer rests on."""

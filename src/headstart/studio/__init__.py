"""The workbench as a web page on your own machine: a face over the verbs, its state are files in one folder."""

"""How a forward pass runs: eager, folded, compiled, onnxruntime; equal features at different speed."""

"""Fine-tuning: strategies over the training loop, their data, cost and choice."""

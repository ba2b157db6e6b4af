"""Loss functions, one module a task; each is a plain function of network outputs and targets."""

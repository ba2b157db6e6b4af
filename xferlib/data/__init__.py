"""Pictures and labels: files of any kind, real photographs, drawn sets and readers of public ones."""

"""`pyoci doctor`: what this host can and can't do for containers. Each part of the host has a module that looks at it."""

"""Constants of several GPUs, precisions and versions of software, fitted together."""

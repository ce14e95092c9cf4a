"""Knowledge transfer: what a student learns from a teacher, layer by layer and at its outputs."""

"""Readers of photographs, lesions and grades; one geometry for image, mask and map; splits."""

"""Enrolment in the page: a guided half minute before the camera, or photos, and one's own avatar after it."""

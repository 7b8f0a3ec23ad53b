"""Avatars: what a receiver needs of a person, made once by enrolment and kept in one `.avatar` file."""

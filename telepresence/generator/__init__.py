"""The generators: what draws a picture from an avatar and keypoints. Needs torch; a call does not need this."""

"""The headset sink: stereo pictures with alpha, or motion for a 3D avatar, to whoever can speak docs/headset.md."""

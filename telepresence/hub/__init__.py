"""The rendezvous: rooms, tokens and signalling. It never sees a picture, a motion packet or an avatar."""

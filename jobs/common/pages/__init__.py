"""Parts that pages of several jobs share: pictures, sounds, axes, words, styles and scripts."""

"""The paper: label-free segmentation by contrasting image patches (arXiv 2208.10779)."""

"""Export a study: tables, clips, pictures of phenology, a bundle for a repository."""

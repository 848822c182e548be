"""The batch jobs, one module or package each; they meet only in the lake."""

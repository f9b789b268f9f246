"""The neural parts: embeddings, attention pooling, residual autoencoders, MMD, the zero-shot tower."""

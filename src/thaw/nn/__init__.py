"""The neural parts: embeddings, attention pooling, autoencoders, MMD, the zero-shot tower."""

"""The titles of metrics in tables, and which of two values is the better one."""

TITLES = {
    "fid": "FID",
    "fid_per_trace": "FID / trace",
    "kid": "KID",
    "fid50k": "FID-50k",
    "kid50k": "KID-50k",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "modes": "classes drawn",
    "kl": "KL to the real histogram",
    "histogram": "share of each class",
    "confidence": "mean confidence",
    "agreement": "agreement (GAN-test)",
    "agreement_by_class": "agreement of each class",
    "gan_train": "GAN-train",
    "l1": "L1 to the target",
    "psnr": "PSNR to the target",
    "unique": "unique images",
    "copies": "copies",
    "copying_z": "nearness to training images (z)",
}
"""In the order in which tables show them."""

LOWER = ("fid", "fid_per_trace", "kid", "fid50k", "kid50k", "kl", "l1", "copies")
"""Metrics of which a lower value is better."""
HIGHER = ("precision", "recall", "coverage", "modes", "agreement", "gan_train", "psnr", "unique")
"""Metrics of which a higher value is better. Of the others neither is."""

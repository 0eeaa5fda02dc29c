"""The titles of metrics in tables."""

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

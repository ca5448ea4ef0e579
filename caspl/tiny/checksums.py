"""SHA-256 of the shipped weight files."""

from __future__ import annotations

CHECKSUMS: dict[str, str] = {
    "student": "5efc052a475433ed48617cbc6fb6604ad36f91c48d7145ea0c8489c4d39c6629",
    "teacher": "4d730bf32255333f341610b3e0a19a9498cc3c8eb69bc60ade4c49b02830fe5b",
}

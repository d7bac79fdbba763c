"""Operations on images: pools, resampling, regions."""

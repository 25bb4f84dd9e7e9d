/** What pictures of people are refused with, as in worker.ts. */
export const avatars = {
  'must have at most 40 megapixels: it is {width} by {height}':
    'debe tener como máximo 40 megapíxeles: mide {width} por {height}',
  'must not be animated': 'no debe estar animada',
  'is cut off or broken': 'está cortada o dañada',
  'is no PNG, JPEG or WebP image': 'no es una imagen PNG, JPEG ni WebP',
  'This user has no picture.': 'Este usuario no tiene foto.',
  'This deployment keeps no pictures.': 'Esta instalación no guarda fotos.',
} as const

/** What rotations say, as in worker.ts. */
export const rotations = {
  'Rotating a key needs a permission for tenants.': 'Rotar una clave requiere un permiso sobre inquilinos.',
  'Eight signing keys are published: rotate again when tokens of the oldest have ended.':
    'Hay ocho claves de firma publicadas: rota de nuevo cuando los tokens de la más antigua hayan terminado.',
  'The signing key that is used from {used_from} is new: rotate it again half an hour later.':
    'La clave de firma que se usa desde {used_from} es nueva: rótala de nuevo media hora después.',
  'Resetting a password in a tenant needs the permission for it.':
    'Restablecer una contraseña en un inquilino requiere el permiso correspondiente.',
  'There is no user like this in the tenant.': 'No hay tal usuario en el inquilino.',
  'cannot be given with user_id': 'no se puede indicar junto con user_id',
} as const

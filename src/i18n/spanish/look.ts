/** What links, colours and logos of tenants are refused with, as in worker.ts. */
export const look = {
  'must have no fragment: the token is put there': 'no debe tener fragmento: ahí va el token',
  'must be an address such as https://app.example.com/verify': 'debe ser una dirección como https://app.example.com/verify',
  'must have no blanks, line breaks and backslashes': 'no debe contener espacios, saltos de línea ni barras invertidas',
  'must hold no user name and no password': 'no debe contener usuario ni contraseña',
  'must begin with https://': 'debe empezar por https://',
  'must begin with https://: http on localhost is for demo tenants':
    'debe empezar por https://: http en localhost es para inquilinos de demostración',
  'must be a colour such as #1f4e79': 'debe ser un color como #1f4e79',
  'must be at most {most} pixels wide and high: it is {width} by {height}':
    'debe medir como máximo {most} píxeles de ancho y de alto: mide {width} por {height}',
  'The bytes are no image of these types: send {types}.': 'Los bytes no son una imagen de estos tipos: envía {types}.',
  'The bytes are {found}, and not {said}.': 'Los bytes son {found}, y no {said}.',
  'Send at most {number} KiB.': 'Envía como máximo {number} KiB.',
  'This tenant has no logo.': 'Este inquilino no tiene logotipo.',
} as const

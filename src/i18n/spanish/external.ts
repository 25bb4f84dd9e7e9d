/** Sentences of providers and logins from elsewhere (src/providers, src/external): English -> Spanish. */
export const external = {
  'This cannot be done with a token of a provider: log in.':
    'Esto no se puede hacer con un token de un proveedor: inicia sesión.',
  'Tokens of this provider are not taken, or nobody here has this identity.':
    'No se aceptan tokens de este proveedor, o nadie aquí tiene esta identidad.',
  'cannot be set for Google, whose access tokens cannot be verified':
    'no se puede activar para Google, cuyos tokens de acceso no se pueden verificar',
  'must be lower-case letters, digits and hyphens, 32 at most': 'debe tener letras minúsculas, cifras y guiones, 32 como máximo',
  'must be the name of a claim': 'debe ser el nombre de un claim',
  'must have at most 100 values': 'debe tener como máximo 100 valores',
  'must be the id of a client': 'debe ser el id de un cliente',
  'must be the secret of a client': 'debe ser el secreto de un cliente',
  'must be the nonce of the login': 'debe ser el nonce del inicio de sesión',
  'must be an https:// address': 'debe ser una dirección https://',
  'must have no fragment': 'no debe tener fragmento',
  'must have no query': 'no debe tener parámetros',
  'must be at a host of the public internet, by its name': 'debe estar en un servidor de la internet pública, por su nombre',
  'must be https://accounts.google.com': 'debe ser https://accounts.google.com',
  'must be https://login.microsoftonline.com/, the id of the directory, and /v2.0':
    'debe ser https://login.microsoftonline.com/, el id del directorio y /v2.0',
  'must be https://cognito-idp, the region, .amazonaws.com/, and the id of the user pool':
    'debe ser https://cognito-idp, la región, .amazonaws.com/ y el id del grupo de usuarios',
  'must be https://securetoken.google.com/ and the id of the project':
    'debe ser https://securetoken.google.com/ y el id del proyecto',
  'cannot be set for an issuer of many organizations': 'no se puede activar para un emisor de muchas organizaciones',
  'A provider that links by e-mail, or is trusted, needs every permission at scope all: it decides who somebody is.':
    'Un proveedor que vincula por correo, o de cuyas direcciones o segundos factores se confía, requiere todos los permisos con alcance all, porque decide quién es cada persona.',
  'A tenant can have at most 20 providers: remove one first.':
    'Un inquilino puede tener como máximo 20 proveedores: quita uno antes.',
  'Users log in with this provider: {linked}. Disable it instead.':
    'Hay usuarios que inician sesión con este proveedor: {linked}. Desactívalo en su lugar.',
  'Another provider has this name.': 'Otro proveedor tiene este nombre.',
  'There is no such provider.': 'No existe ese proveedor.',
  'The login of this provider was not accepted, or nobody here has it: begin again.':
    'El inicio de sesión de este proveedor no fue aceptado, o nadie aquí lo tiene: empieza de nuevo.',
  'is not one that this provider gave for this login': 'no es uno que este proveedor haya dado para este inicio de sesión',
  'This provider was changed meanwhile: begin again.': 'Entre tanto se cambió este proveedor: empieza de nuevo.',
  'This token was used before: get a new one.': 'Este token ya se usó: pide uno nuevo.',
  'Somebody else logs in with this identity.': 'Otra persona inicia sesión con esta identidad.',
  'You have 20 identities, which is the most: remove one first.': 'Tienes 20 identidades, que es el máximo: quita una antes.',
  'This identity is the only way into your account: add another one, or set a password.':
    'Esta identidad es la única forma de entrar en tu cuenta: añade otra o pon una contraseña.',
}

/** What the Worker says of passkeys: English -> Spanish. */
export const passkeys = {
  'must be base64url without padding': 'debe ser base64url sin relleno',
  'The passkey was not accepted: ask for new options and try again.':
    'La llave de acceso no fue aceptada: pide opciones nuevas e inténtalo otra vez.',
  'has no challenge that this session was given': 'no tiene ningún desafío que se haya dado a esta sesión',
  'has no challenge of this invitation': 'no tiene ningún desafío de esta invitación',
  'has a challenge that has expired: ask for new options': 'tiene un desafío que ha caducado: pide opciones nuevas',
  'is not CBOR': 'no es CBOR',
  'has an attestation that is not taken: ask for none': 'tiene una certificación que no se acepta: pide que no haya ninguna',
  'cannot be verified': 'no se puede verificar',
  'cannot be read': 'no se puede leer',
  'has a signature that is not right': 'tiene una firma que no es correcta',
  'has no signature and certificate of FIDO U2F': 'no tiene firma y certificado de FIDO U2F',
  'is not right': 'no es correcto',
  'is not the id of the passkey': 'no es el id de la llave de acceso',
  'is not a JSON object': 'no es un objeto JSON',
  'has a type that is not {type}': 'tiene un tipo que no es {type}',
  'has another challenge': 'tiene otro desafío',
  'is of a page of another origin than {origin}': 'es de una página de otro origen que {origin}',
  'is of a page in a frame of another origin': 'es de una página dentro de un marco de otro origen',
  'has no authenticator data': 'no tiene datos del autenticador',
  'is for another rpId than {hosts}': 'es para otro rpId que {hosts}',
  'says that nobody was present': 'dice que no había nadie',
  'says that the user was not verified: a PIN, a fingerprint or a face is required':
    'dice que no se verificó a la persona: hace falta un PIN, una huella o un rostro',
}

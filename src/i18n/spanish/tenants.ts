/** What the Worker says of the names of tenants, of where one may be, of moves, of restores and of undos of migrations: as worker.ts, of which it is a part. */
export const tenants = {
  'The subdomain {subdomain} is reserved.': 'El subdominio {subdomain} está reservado.',
  'This tenant has another name now: its address is {url}.': 'Este inquilino tiene ahora otro nombre: su dirección es {url}.',
  'must hold at most 50 keys and 16 KiB, with what it holds already':
    'debe tener como máximo 50 claves y 16 KiB, con lo que ya contiene',
  'is a key of something else than 1-40 of a-z, A-Z, 0-9, _, . and -, beginning with a letter':
    'es una clave que no consta de 1 a 40 caracteres de a-z, A-Z, 0-9, _, . y -, empezando por una letra',
  'The tenant is being moved or restored, or its credentials are being rotated: try again when that has ended.':
    'El inquilino se está moviendo o restaurando, o se están rotando sus credenciales: inténtelo de nuevo cuando haya terminado.',
  'The tenant is being moved, or restored to an earlier moment.':
    'El inquilino se está moviendo, o restaurando a un momento anterior.',
  'The database of the tenant is its owner’s, who alone moves it: Freehold only adopted it.':
    'La base de datos del inquilino es de su propietario, el único que la mueve: Freehold solo la adoptó.',
  'The tenant has isolation project, in {region}: to move it to another region, give region.':
    'El inquilino tiene aislamiento project, en {region}: para moverlo a otra región, indica region.',
  'The tenant has isolation {isolation}, in {region}.': 'El inquilino tiene aislamiento {isolation}, en {region}.',
  'What the last move left is not removed yet: try again in some minutes.':
    'Lo que dejó el último movimiento aún no se ha eliminado: inténtalo de nuevo en unos minutos.',
  'The tenant is being migrated.': 'El inquilino se está migrando.',
  'The keys of the tenant are being rotated: try again in some minutes.':
    'Las claves del inquilino se están rotando: inténtalo de nuevo en unos minutos.',
  'The tenant has the schema {schema}, and this release makes {newest}: migrate it first.':
    'El inquilino tiene el esquema {schema}, y esta versión crea {newest}: mígralo primero.',
  'A tenant of isolation {isolation} has no branch of its own, one of isolation branch or project has: each of its migrations is one transaction.':
    'Un inquilino con aislamiento {isolation} no tiene rama propia, uno con aislamiento branch o project la tiene: cada una de sus migraciones es una transacción.',
  'The migration of this tenant is being undone.': 'La migración de este inquilino se está deshaciendo.',
  'This tenant is being migrated.': 'Este inquilino se está migrando.',
  'The keys of this tenant are being rotated: undo the migration some minutes later.':
    'Las claves de este inquilino se están rotando: deshaz la migración unos minutos después.',
  'There is nothing to undo: Neon had no room for the branch of before the migration ({refused}).':
    'No hay nada que deshacer: Neon no tenía sitio para la rama de antes de la migración ({refused}).',
  'The migration of this tenant is undone already.': 'La migración de este inquilino ya está deshecha.',
  'There is nothing to undo: no branch of before a migration is kept.':
    'No hay nada que deshacer: no se conserva ninguna rama de antes de una migración.',
  'A tenant of isolation {isolation} cannot be restored to an earlier moment: one of isolation project can.':
    'Un inquilino con aislamiento {isolation} no se puede restaurar a un momento anterior: uno con aislamiento project sí.',
  'A restore point of the tenant is being made.': 'Se está creando un punto de restauración del inquilino.',
  'There is a restore point already, which waits for its confirmation: delete it first.':
    'Ya hay un punto de restauración, que espera su confirmación: elimínalo primero.',
  'Neon does not say which moments of the tenant it has.': 'Neon no indica qué momentos del inquilino tiene.',
  'is outside the window of the tenant, which is from {from} until {until}':
    'está fuera del intervalo del inquilino, que va de {from} a {until}',
  "must be the tenant's subdomain: what was written since is not there any more":
    'debe ser el subdominio del inquilino: lo que se escribió desde entonces ya no estará',
  'There is no state before to go back to.': 'No hay ningún estado anterior al que volver.',
  'The restore point does not wait for a confirmation.': 'El punto de restauración no espera ninguna confirmación.',
  'The tenant has another branch at Neon since.': 'Desde entonces el inquilino tiene otra rama en Neon.',
  'The restore point is not there any more.': 'El punto de restauración ya no está.',
  'must be given with a tax id': 'debe indicarse con un identificador fiscal',
  'cannot be changed by itself: the tax id of the tenant is of its country, so give tax_id as well':
    'no se puede cambiar por sí solo: el identificador fiscal del inquilino es de su país, así que indica también tax_id',
  'There is a plan {plan} already.': 'Ya hay un plan {plan}.',
  'There is a license {license} already.': 'Ya hay una licencia {license}.',
  'must be later than valid_from': 'debe ser posterior a valid_from',
  'must be 1-100 of letters, digits, dot, _ and -': 'debe ser de 1 a 100 letras, dígitos, punto, _ y -',
  'The license has not begun: take it back instead.': 'La licencia no ha comenzado: retírala en su lugar.',
  'The license has ended already.': 'La licencia ya terminó.',
} as const

/**
 * Sentences of a tenant's database (the .sql files of the rooms): English with {values} -> Spanish. `{value:parts}` is translated
 * itself.
 */
export const database = {
  // People.
  'There is nobody with this id.': 'No hay nadie con este id.',
  'There is no such user.': 'No existe ese usuario.',
  'Your own password is changed with auth/password-change.': 'Tu propia contraseña se cambia con auth/password-change.',
  'Your own address is changed with auth/email-change.': 'Tu propia dirección se cambia con auth/email-change.',
  'Whoever lent you this permission did not lend you themselves.': 'Quien te prestó este permiso no se prestó a sí mismo.',
  'This person holds more than you do: how they log in is not yours to change.':
    'Esta persona tiene más permisos que tú: no te corresponde cambiar cómo inicia sesión.',
  'Somebody else must unlock you.': 'Otra persona debe desbloquearte.',
  'Nobody deactivates themselves.': 'Nadie se desactiva a sí mismo.',
  'user:delete deactivates, and changes nothing else.': 'user:delete desactiva y no cambia nada más.',
  'Somebody else must change {fields} here.': 'Otra persona debe cambiar {fields} aquí.',
  'Somebody else must change your unit: what you reach depends on it.':
    'Otra persona debe cambiar tu unidad: tu alcance depende de ella.',
  'is not a unit that you reach': 'no es una unidad a tu alcance',
  'is not a person whom you reach': 'no es una persona a tu alcance',
  'must be at most 8 KiB': 'debe tener como máximo 8 KiB',
  '{role} is not a role of this tenant': '{role} no es un rol de este inquilino',
  'would make a person their own superior': 'haría de una persona su propio superior',
  'Only who makes a person gives them their first password.': 'Solo quien crea a una persona le da su primera contraseña.',

  'Only who makes people moves them in.': 'Solo quien crea personas puede importarlas.',
  'You make people in units that you reach, and nowhere else.': 'Creas personas en unidades a tu alcance y en ningún otro sitio.',

  // Roles and who has them.
  'You do not hold {permission} at scope {scope} yourself, so you cannot hand it out.':
    'No tienes {permission} con alcance {scope}, así que no puedes darlo.',
  'Somebody must hold the role {role}: give it to another person first.':
    'Alguien debe tener el rol {role}: dáselo antes a otra persona.',
  'There is no such role.': 'No existe ese rol.',
  'The role {role} belongs to the system and keeps its parent.': 'El rol {role} es del sistema y conserva su rol superior.',
  'The role {role} belongs to the system and keeps its name.': 'El rol {role} es del sistema y conserva su nombre.',
  'The role {role} belongs to the system.': 'El rol {role} es del sistema.',
  'The role {role} is the one of who registers: name another in the settings first.':
    'El rol {role} es el de quienes se registran: indica antes otro en la configuración.',
  'is not a role of this tenant': 'no es un rol de este inquilino',
  'would make a role inherit from itself': 'haría que un rol heredara de sí mismo',
  'Deleting a role needs role:delete.': 'Para borrar un rol se necesita role:delete.',
  'The role {role} is {uses}.': 'El rol {role} está {uses:parts}.',
  'assigned to {people}': 'asignado a {people}',
  'inherited by {roles}': 'heredado por {roles}',
  'delegated by {people}': 'delegado por {people}',
  'More than {number} hold the role {role}.': 'Más de {number} tienen el rol {role}.',
  'The administrator carries everything: nothing can be taken from this role.':
    'El administrador lo tiene todo: a este rol no se le puede quitar nada.',
  'Giving and taking roles needs role:update.': 'Para dar y quitar roles se necesita role:update.',
  'The role {role} cannot be managed within a team.': 'El rol {role} no se puede gestionar dentro de un equipo.',
  'Nobody assigns a role to themselves.': 'Nadie se asigna un rol a sí mismo.',
  'They are given the role {role} for good already.': 'Ya tienen el rol {role} de forma indefinida.',
  'The role {role} has room for {number}.': 'En el rol {role} caben {number}.',

  // Permissions and exceptions from them.
  '{permission} is not a permission of this tenant': '{permission} no es un permiso de este inquilino',
  'is not a permission of this tenant': 'no es un permiso de este inquilino',
  'There is no such permission.': 'No existe ese permiso.',
  'there is no {name} here': 'aquí no existe {name}',
  'Deleting a permission needs permission:delete.': 'Para borrar un permiso se necesita permission:delete.',
  'The permission {permission} belongs to the system.': 'El permiso {permission} es del sistema.',
  'The permission {permission} is in use: {uses}.': 'El permiso {permission} está en uso: {uses:parts}.',
  'the roles {roles}': 'los roles {roles}',
  'overrides of {people}': 'excepciones de {people}',
  'delegations of {people}': 'delegaciones de {people}',
  'Nobody overrides their own permissions.': 'Nadie hace excepciones a sus propios permisos.',

  // What is given for a time.
  'lies in the past': 'está en el pasado',
  'lies in the future': 'está en el futuro',
  'must be after the start, and in the future': 'debe ser posterior al inicio y estar en el futuro',
  'must be a moment': 'debe ser un momento',
  'This has ended.': 'Esto ha terminado.',
  'is the delegator': 'es quien delega',
  'is not an active user of this tenant': 'no es un usuario activo de este inquilino',
  'You do not hold this role yourself, so you cannot delegate it.': 'No tienes este rol, así que no puedes delegarlo.',
  'You do not hold {permission} yourself, so you cannot delegate it.': 'No tienes {permission}, así que no puedes delegarlo.',
  'This delegation is over.': 'Esta delegación ha terminado.',
  'This delegation is not pending.': 'Esta delegación no está pendiente.',
  'Who decides on a delegation is neither of the two.': 'Quien decide sobre una delegación no es ninguno de los dos.',

  // Units.
  'Somebody else must do this: what you reach depends on it.': 'Otra persona debe hacerlo: tu alcance depende de ello.',
  'Somebody who reaches all units must do this.': 'Debe hacerlo alguien con alcance sobre todas las unidades.',
  'has departments under it, which stand under departments only': 'tiene debajo departamentos, que solo van bajo departamentos',
  'would put a department under a team': 'pondría un departamento bajo un equipo',
  'would put a unit under itself': 'pondría una unidad bajo sí misma',

  // API keys.
  'There is no such key.': 'No existe esa clave.',
  'There is no such key here, or it was revoked.': 'Aquí no existe esa clave, o fue revocada.',
  'This key has expired.': 'Esta clave ha caducado.',
  'This key was rotated, and works no longer than it was said to.':
    'Esta clave fue rotada y no funciona más tiempo del indicado.',
  'This key does not name {permission}.': 'Esta clave no incluye {permission}.',
  'This key does not name {permission}, so nothing can be handed out with it that carries that.':
    'Esta clave no incluye {permission}, así que con ella no se puede dar nada que lo contenga.',
  'This key does not work from {address}.': 'Esta clave no funciona desde {address:parts}.',
  'an unknown address': 'una dirección desconocida',
  'How you log in is changed with a session, not with a key.':
    'Tu forma de iniciar sesión se cambia con una sesión, no con una clave.',
  'You do not hold {permission} yourself, so a key of yours cannot name it.':
    'No tienes {permission}, así que una clave tuya no puede incluirlo.',
  'has bits beyond its mask: the network is {network}': 'tiene bits más allá de su máscara: la red es {network}',
  "Somebody else's key can be revoked, and not changed.": 'La clave de otra persona se puede revocar, pero no cambiar.',
  'Nobody has more than 50 keys: revoke one first.': 'Nadie tiene más de 50 claves: revoca antes una.',
  'must lie in the future': 'debe estar en el futuro',

  // The audit.
  '{operation} of freehold.{table}: the audit is append-only.': '{operation} en freehold.{table}: a la auditoría solo se añade.',
  'DELETE of freehold.audit_detail: a detail is erased by access.erase_detail alone.':
    'DELETE en freehold.audit_detail: un detalle solo se borra con access.erase_detail.',
  'Only who holds activity:create records an activity.': 'Solo quien tiene activity:create registra una actividad.',
  'Only who holds activity:export exports activities.': 'Solo quien tiene activity:export exporta actividades.',
  'must be words in capitals with _ between them, at most 64 characters':
    'deben ser palabras en mayúsculas separadas por _, de 64 caracteres como máximo',
  '{activity} is recorded by Freehold itself': 'Freehold mismo registra {activity}',
  'is more than an activity may hold': 'es más de lo que cabe en una actividad',
} as const

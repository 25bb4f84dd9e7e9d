/**
 * Sentences of a tenant's database (the .sql files of the rooms): English with {values} -> Spanish. `{value:parts}` is translated
 * itself.
 */
export const database = {
  // Who asks.
  'This needs a second factor: POST auth/step-up with it, then send the request again.':
    'Para esto hace falta un segundo factor: envíalo con POST auth/step-up y repite la solicitud.',
  'This needs a login of the last {fresh} minutes: POST auth/step-up, then send the request again.':
    'Para esto hace falta un inicio de sesión de los últimos {fresh} minutos: haz POST auth/step-up y repite la solicitud.',

  // People.
  'Fixing needs a permission for tenants.': 'Para reparar hace falta un permiso sobre tenants.',
  'There is no user with this id.': 'No hay nadie con este id.',
  'You can read this, but your {permission} does not reach it.': 'Puedes leer esto, pero tu {permission} no lo alcanza.',
  'There is no such user.': 'No existe ese usuario.',
  'Change your own password with auth/password-change.': 'Cambia tu propia contraseña con auth/password-change.',
  'Change your own address with auth/email-change.': 'Cambia tu propia dirección con auth/email-change.',
  'A delegated permission cannot be used on its delegator.': 'Un permiso delegado no se puede usar sobre quien lo delegó.',
  'This user holds more permissions than you: you cannot log in as them, or change how they do.':
    'Este usuario tiene más permisos que tú: no puedes entrar como él ni cambiar cómo entra.',
  'This changes a user with administrative permissions that you do not hold as far as they do.':
    'Esto cambia a un usuario con permisos de administración que tú no tienes con el mismo alcance.',
  'This changes a user with administrative permissions that you or this API key do not hold as far as they do.':
    'Esto cambia a un usuario con permisos de administración que tú o esta clave de API no tenéis con el mismo alcance.',
  'You cannot unlock yourself.': 'No puedes desbloquearte a ti mismo.',
  'You cannot deactivate yourself.': 'No puedes desactivarte a ti mismo.',
  'user:delete deactivates a user and changes nothing else.': 'user:delete desactiva a un usuario y no cambia nada más.',
  'Another user must change {fields} here.': 'Otro usuario debe cambiar {fields} aquí.',
  'You cannot change your own unit: the scope of your permissions depends on it.':
    'No puedes cambiar tu propia unidad: de ella depende el alcance de tus permisos.',
  'is not a unit that you can access': 'no es una unidad a la que tengas acceso',
  'is not a user whom you can access': 'no es un usuario al que tengas acceso',
  'Setting links needs every permission at scope all, because the tokens that set passwords go where links lead.':
    'Poner enlaces requiere todos los permisos con alcance all, porque los tokens con los que se pone una contraseña van adonde llevan los enlaces.',
  'must be at most 8 KiB': 'debe tener como máximo 8 KiB',
  '{role} is not a role of this tenant': '{role} no es un rol de este inquilino',
  'would make a user their own manager': 'haría de un usuario su propio superior',
  'A first password can only be set while the user is created.':
    'Una primera contraseña solo se puede fijar al crear el usuario.',

  'A username is made up only for a new user.': 'Solo se inventa un nombre de usuario para un usuario nuevo.',
  'Importing users needs user:create.': 'Para importar usuarios se necesita user:create.',
  'An address counts as verified with user:approve only.': 'Una dirección solo cuenta como verificada con user:approve.',
  'You can only create users in units that are within your scope.':
    'Solo puedes crear usuarios en unidades dentro de tu alcance.',

  // Limits and the license.
  '{plan} is not a plan: make it first, or name another': '{plan} no es un plan: créalo antes, o indica otro',
  'Tenants that have the plan {plan}: {count}. Give them another one first.':
    'Inquilinos que tienen el plan {plan}: {count}. Antes asígnales otro.',
  'The limit max_users is reached: this tenant can have at most {most} active users.':
    'Se alcanzó el límite max_users: este inquilino puede tener como máximo {most} usuarios activos.',
  'The limit max_api_keys is reached: this tenant can have at most {most} API keys.':
    'Se alcanzó el límite max_api_keys: este inquilino puede tener como máximo {most} claves de API.',
  'The limit max_documents is reached: of at most {most} documents {used} are counted.':
    'Se alcanzó el límite max_documents: de como máximo {most} documentos hay {used} contados.',
  'The limit max_sessions is reached: this tenant can have at most {most} sessions at once.':
    'Se alcanzó el límite max_sessions: este inquilino puede tener como máximo {most} sesiones a la vez.',
  'The license of this tenant has expired: it can be read and exported, access can be ended, nothing else changed.':
    'La licencia de este inquilino ha vencido: se puede leer y exportar, se pueden terminar accesos, y nada más se puede cambiar.',
  'Counting documents needs usage:create.': 'Para contar documentos se necesita usage:create.',
  'Reading limits needs usage:read.': 'Para leer los límites se necesita usage:read.',

  // Roles and who has them.
  '{role} is not active': '{role} no está activo',
  'looks the same as the name of the role {role}': 'se ve igual que el nombre del rol {role}',
  'You do not hold {permission} at scope {scope}, so you cannot grant it.':
    'No tienes {permission} con alcance {scope}, así que no puedes darlo.',
  'You do not hold {permission} in all units that it would reach at scope {scope}, so you cannot grant it.':
    'No tienes {permission} en todas las unidades a las que llegaría con alcance {scope}, así que no puedes darlo.',
  'Somebody must hold the role {role}: assign it to another user first.':
    'Alguien debe tener el rol {role}: asígnalo antes a otro usuario.',
  'There is no such role.': 'No existe ese rol.',
  'The role {role} belongs to the system and keeps its parent.': 'El rol {role} es del sistema y conserva su rol superior.',
  'The role {role} belongs to the system and keeps its name.': 'El rol {role} es del sistema y conserva su nombre.',
  'The role {role} belongs to the system.': 'El rol {role} es del sistema.',
  'The role {role} is given to users who register: choose another in the settings first.':
    'El rol {role} se da a quienes se registran: elige antes otro en la configuración.',
  'is not a role of this tenant': 'no es un rol de este inquilino',
  'would make a role inherit from itself': 'haría que un rol heredara de sí mismo',
  'Deleting a role needs role:delete.': 'Para borrar un rol se necesita role:delete.',
  'The role {role} is {uses}.': 'El rol {role} está {uses:parts}.',
  'assigned to {people}': 'asignado a {people}',
  'inherited by {roles}': 'heredado por {roles}',
  'delegated by {people}': 'delegado por {people}',
  'More than {number} users hold the role {role}.': 'Más de {number} usuarios tienen el rol {role}.',
  'The administrator role carries every permission: none can be removed from it.':
    'El rol de administrador tiene todos los permisos: no se le puede quitar ninguno.',
  'Assigning and removing roles needs role:update.': 'Para asignar y quitar roles se necesita role:update.',
  'The role {role} cannot be managed within a team.': 'El rol {role} no se puede gestionar dentro de un equipo.',
  'You cannot assign a role to yourself.': 'No puedes asignarte un rol a ti mismo.',
  'The user already has the role {role} without an end.': 'El usuario ya tiene el rol {role} sin fecha de fin.',
  'The role {role} can be held by at most {number} users.': 'El rol {role} lo pueden tener como máximo {number} usuarios.',

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
  'You cannot override your own permissions.': 'No puedes hacer excepciones a tus propios permisos.',

  // What is given for a time.
  'lies in the past': 'está en el pasado',
  'lies in the future': 'está en el futuro',
  'must be after the start, and in the future': 'debe ser posterior al inicio y estar en el futuro',
  'must be a timestamp': 'debe ser una marca de tiempo',
  'This has ended.': 'Esto ha terminado.',
  'is the delegator': 'es quien delega',
  'is not an active user of this tenant': 'no es un usuario activo de este inquilino',
  'You have delegated this role to this user for some of this time already: revoke that delegation first.':
    'Ya has delegado este rol a este usuario por parte de ese tiempo: revoca antes esa delegación.',
  'You have delegated {permission} to this user for some of this time already: revoke that delegation first.':
    'Ya has delegado {permission} a este usuario por parte de ese tiempo: revoca antes esa delegación.',
  'More than 50 users act for each other in a line here: ask for one of them.':
    'Más de 50 usuarios actúan aquí unos por otros en cadena: pregunta por uno de ellos.',
  'A user can have at most {number} delegations that have not ended: revoke one first.':
    'Un usuario puede tener como máximo {number} delegaciones que no hayan terminado: revoca antes una.',
  'At most 50 users can delegate to one user at a time: delegate to another user.':
    'Como máximo 50 usuarios pueden delegar a la vez en un usuario: delega en otro.',
  'You do not hold this role, so you cannot delegate it.': 'No tienes este rol, así que no puedes delegarlo.',
  'You do not hold {permission}, so you cannot delegate it.': 'No tienes {permission}, así que no puedes delegarlo.',
  'This delegation has ended.': 'Esta delegación ha terminado.',
  'This delegation is not pending.': 'Esta delegación no está pendiente.',
  'Neither the delegator nor the delegate can decide on a delegation.':
    'Ni quien delega ni el delegado pueden decidir sobre una delegación.',

  // Units.
  'You cannot do this: the scope of your permissions depends on it.':
    'No puedes hacerlo: de ello depende el alcance de tus permisos.',
  'This needs access to all units.': 'Para esto se necesita acceso a todas las unidades.',
  'contains departments, which can only be under departments': 'contiene departamentos, que solo pueden estar bajo departamentos',
  'would put a department under a team': 'pondría un departamento bajo un equipo',
  'would put a unit under itself': 'pondría una unidad bajo sí misma',

  // Settings.
  'must be at most {limit} while {field} is {value}: to set more, change both in one request':
    'debe ser como máximo {limit} mientras {field} sea {value}: para un valor mayor, cambia ambos en una misma solicitud',
  'must be at least {limit} while {field} is {value}: to set less, change both in one request':
    'debe ser como mínimo {limit} mientras {field} sea {value}: para un valor menor, cambia ambos en una misma solicitud',

  // Idempotency keys.
  'This Idempotency-Key was sent with another request before: use a new one.':
    'Esta Idempotency-Key ya se envió con otra solicitud: usa una nueva.',
  'A request with this Idempotency-Key is being answered: repeat it in a moment.':
    'Se está respondiendo a una solicitud con esta Idempotency-Key: repítela en un momento.',

  // API keys.
  // Passkeys.
  'This answer was used before: ask for new options.': 'Esta respuesta ya se usó: pide opciones nuevas.',
  'You have 20 passkeys, which is the most: remove one first.':
    'Tienes 20 llaves de acceso, que es el máximo: quita una primero.',
  'This passkey is registered already.': 'Esta llave de acceso ya está registrada.',
  'This passkey is the only way into your account: add another one, or set a password.':
    'Esta llave de acceso es la única forma de entrar en tu cuenta: añade otra o pon una contraseña.',
  'There is no such key.': 'No existe esa clave.',
  'There is no such key here, or it was revoked.': 'Aquí no existe esa clave, o fue revocada.',
  'This key has expired.': 'Esta clave ha caducado.',
  'This key was rotated: its expiry cannot be extended.': 'Esta clave fue rotada: su caducidad no se puede ampliar.',
  'This API key does not include {permission}.': 'Esta clave de API no incluye {permission}.',
  'This API key does not include {permission}, so it cannot grant it.':
    'Esta clave de API no incluye {permission}, así que no puede concederlo.',
  'This key does not work from {address}.': 'Esta clave no funciona desde {address:parts}.',
  'an unknown address': 'una dirección desconocida',
  'How you log in can be changed with a session only, not with an API key.':
    'Tu forma de iniciar sesión solo se cambia con una sesión, no con una clave de API.',
  'You do not hold {permission}, so your API key cannot include it.':
    'No tienes {permission}, así que tu clave de API no puede incluirlo.',
  'has bits beyond its mask: the network is {network}': 'tiene bits más allá de su máscara: la red es {network}',
  "Another user's key can be revoked, but not changed.": 'La clave de otro usuario se puede revocar, pero no cambiar.',
  'A tenant can have at most 100 audiences: remove one first.':
    'Un inquilino puede tener como máximo 100 audiencias: elimine primero una.',
  'A user can have at most 50 API keys: revoke one first.':
    'Un usuario puede tener como máximo 50 claves de API: revoca antes una.',
  'must lie in the future': 'debe estar en el futuro',

  // The audit.
  '{operation} of freehold.{table}: the audit is append-only.': '{operation} en freehold.{table}: a la auditoría solo se añade.',
  'DELETE of freehold.audit_detail: a detail is erased by access.erase_detail alone.':
    'DELETE en freehold.audit_detail: un detalle solo se borra con access.erase_detail.',
  'Recording an activity needs activity:create.': 'Para registrar una actividad se necesita activity:create.',
  'Exporting activities needs activity:export.': 'Para exportar actividades se necesita activity:export.',
  'must be words in capitals with _ between them, at most 64 characters':
    'deben ser palabras en mayúsculas separadas por _, de 64 caracteres como máximo',
  '{activity} is recorded by Freehold itself': 'Freehold mismo registra {activity}',
  'The subdomain {subdomain} is the former name of another tenant and kept for it until {until}.':
    'El subdominio {subdomain} es el nombre anterior de otro inquilino y se le reserva hasta {until}.',
  'The tenant had 20 other names in the last 30 days. Wait until one of them is free.':
    'El inquilino tuvo otros 20 nombres en los últimos 30 días. Espera a que uno de ellos quede libre.',
  'is larger than an activity may be': 'es mayor de lo que puede ser una actividad',
} as const

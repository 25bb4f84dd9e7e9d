import { avatars } from './avatars.ts'
import { doctor } from './doctor.ts'
import { look } from './look.ts'
import { oauth } from './oauth.ts'
import { origins } from './origins.ts'
import { passkeys } from './passkeys.ts'
import { rotations } from './rotations.ts'
import { tenants } from './tenants.ts'

/**
 * Sentences of the Worker's own code: English as it is thrown, with {values} -> Spanish. `{value:parts}` is translated itself.
 */
export const worker = {
  ...doctor,
  ...tenants,
  ...oauth,
  ...avatars,
  ...look,
  ...origins,
  ...passkeys,
  ...rotations,
  // Any body and any field.
  'is not a field of this request': 'no es un campo de esta solicitud',
  'and {count} more': 'y {count} más',
  'is missing': 'falta',
  'must not be empty': 'no debe estar vacío',
  'must be text': 'debe ser texto',
  'must be a number': 'debe ser un número',
  'must be a whole number': 'debe ser un número entero',
  'must be true or false': 'debe ser true o false',
  'must be a list': 'debe ser una lista',
  'must be an object': 'debe ser un objeto',
  'must be a UUID': 'debe ser un UUID',
  'must be one of {values}': 'debe ser uno de {values}',
  'must be at least {bound}': 'debe ser como mínimo {bound}',
  'must be at most {bound}': 'debe ser como máximo {bound}',
  'must have at least {bound} entries': 'debe tener al menos {bound} elementos',
  'must have at most {bound} entries': 'debe tener como máximo {bound} elementos',
  'Malformed JSON in request body': 'El cuerpo de la solicitud no es JSON bien formado',
  'Malformed FormData request. {reason}': 'El formulario no está bien formado. {reason}',
  'must be text without control characters': 'debe ser texto sin caracteres de control',
  'must be a timestamp as in RFC 3339': 'debe ser un momento como en RFC 3339',
  'must lie in the years 1 to 9999': 'debe estar entre los años 1 y 9999',
  'must be left out: this token is for the address of a user, not for a registration':
    'debe omitirse: este token es para la dirección de un usuario, no para un registro',
  'is not UTF-8': 'no es UTF-8',
  'is there twice': 'está dos veces',
  'is not a name that can be used': 'no es un nombre que se pueda usar',
  'holds half of a surrogate pair': 'contiene medio par sustituto',
  'is a number that cannot be kept exactly: send it as a string':
    'es un número que no se puede guardar con exactitud: envíalo como texto',
  'is nested too deeply': 'está anidado demasiado profundamente',
  'Send UTF-8.': 'Envía UTF-8.',
  'must be a whole number in digits': 'debe ser un número entero en cifras',
  'Use TLS 1.2 or later. Others may have read this request: change the password, or end the session or key, that it carried.':
    'Usa TLS 1.2 o posterior. Otros pueden haber leído esta solicitud: cambia la contraseña, o termina la sesión o la clave, que llevaba.',
  'Send at most 16 KiB.': 'Envía como máximo 16 KiB.',
  'Send the body without Content-Encoding.': 'Envía el cuerpo sin Content-Encoding.',
  'must be at most 16 KiB': 'debe tener como máximo 16 KiB',
  'Checkpoints cover all activities: activity:read at scope all is needed.':
    'Los puntos de control cubren todas las actividades: se necesita activity:read con alcance all.',

  // Tenants.
  'This host is not one of ours.': 'Este host no es uno de los nuestros.',
  'There is no tenant {name}.': 'No existe el inquilino {name}.',
  'The database took too long and was stopped.': 'La base de datos tardó demasiado y se detuvo.',
  'NEON_API_KEY is a personal key, which needs NEON_ORG_ID: set the id of the organization.':
    'NEON_API_KEY es una clave personal, que necesita NEON_ORG_ID: configura el id de la organización.',
  'Neon does not accept NEON_API_KEY: set a key that is valid.': 'Neon no acepta NEON_API_KEY: configura una clave válida.',
  'NEON_ACCOUNTS has a personal key for {name}, which needs org_id: set the id of the organization.':
    'NEON_ACCOUNTS tiene una clave personal para {name}, que necesita org_id: configura el id de la organización.',
  'Neon does not accept the key for {name} in NEON_ACCOUNTS: set a key that is valid.':
    'Neon no acepta la clave de {name} en NEON_ACCOUNTS: configura una clave válida.',
  'The registry cache does not answer.': 'La caché del registro no responde.',
  'must be a DNS label in lower case: a-z, 0-9 and hyphens, no hyphen at either end':
    'debe ser una etiqueta DNS en minúsculas: a-z, 0-9 y guiones, sin guion en los extremos',
  "lies under the domain of this service, where other names than the tenant's own belong to others":
    'está bajo el dominio de este servicio, donde los nombres distintos del propio del inquilino son de otros',
  'is reserved': 'está reservado',
  'must be 1-255 visible ASCII characters, with or without quotes':
    'debe tener de 1 a 255 caracteres ASCII visibles, con comillas o sin ellas',
  'must be printable ASCII without spaces': 'debe ser ASCII imprimible sin espacios',
  'must be an ISO 3166-1 code of two capital letters': 'debe ser un código ISO 3166-1 de dos letras mayúsculas',
  'must be 1-50 of a-z, 0-9, _ and -': 'debe tener de 1 a 50 caracteres de a-z, 0-9, _ y -',
  'must have at most 32 characters': 'debe tener como máximo 32 caracteres',
  'must have 11 digits (RUC)': 'debe tener 11 dígitos (RUC)',
  'has a wrong check digit (RUC)': 'tiene un dígito verificador incorrecto (RUC)',
  'must be the id of a region of Neon': 'debe ser el identificador de una región de Neon',
  'isolation {isolation} has the region of its host, {region}: use isolation project':
    'el aislamiento {isolation} tiene la región de su host, {region}: usa el aislamiento project',
  'The subdomain {subdomain} is taken.': 'El subdominio {subdomain} está ocupado.',
  'A tenant with the tax id {tax_id} exists already.': 'Ya existe un inquilino con el identificador fiscal {tax_id}.',
  'The keys that are used from {used_from} are new: rotate them again half an hour later.':
    'Las claves que se usan desde {used_from} son nuevas: rótalas de nuevo media hora después.',
  'Migration run {id} is running: GET /platform/v1/migrations/{same} shows it.':
    'La migración {id} está en curso: GET /platform/v1/migrations/{same} la muestra.',
  'A migration run was running: try again.': 'Había una migración en curso: inténtalo de nuevo.',
  'That run was to an older schema: start a new one.': 'Esa migración era a un esquema anterior: inicia una nueva.',
  'There is nothing to resume: the run is running, or nothing of it failed.':
    'No hay nada que reanudar: la migración está en curso, o no falló nada en ella.',
  'No tenant is behind the newest schema or its preset.': 'Ningún inquilino está atrasado: ni en el esquema ni en su preajuste.',
  'Rows were written since the migration, which would be lost: discard_writes loses them.':
    'Desde la migración se escribieron filas, que se perderían: discard_writes las pierde.',
  '{table}: {written} written, {restored} changed or deleted': '{table}: {written} escritas, {restored} cambiadas o borradas',
  'The tenant is {status}.': 'El estado del inquilino es {status}.',
  'The tenant is {status}, not {from}.': 'El estado del inquilino es {status}, no {from:parts}.',
  "must be the tenant's subdomain: erasing cannot be undone":
    'debe ser el subdominio del inquilino: el borrado no se puede deshacer',

  // Logging in, passwords.
  'Only Bearer tokens are understood.': 'Solo se entienden tokens Bearer.',
  'give either username or email': 'indica username o email, uno de los dos',
  'is missing: username or email, and password': 'falta: username o email, y password',
  'Too many logins of this user are in progress.': 'Hay demasiados inicios de sesión de este usuario en curso.',
  'The credentials are not valid, or too many imported users log in at once.':
    'Las credenciales no son válidas, o demasiados usuarios importados inician sesión a la vez.',
  'must be left out: no client has a secret here': 'debe omitirse: aquí ningún cliente tiene un secreto',
  'No client has a secret here: log in without HTTP Basic authentication.':
    'Aquí ningún cliente tiene un secreto: inicia sesión sin autenticación HTTP Basic.',
  'The password is not right.': 'La contraseña no es correcta.',
  'The current password is not right.': 'La contraseña actual no es correcta.',
  'must have at least {least} characters': 'debe tener al menos {least} caracteres',
  'must have at most {most} characters': 'debe tener como máximo {most} caracteres',
  'must have an upper case letter': 'debe tener una letra mayúscula',
  'must have a lower case letter': 'debe tener una letra minúscula',
  'must have a digit': 'debe tener un dígito',
  'must have a character that is neither letter nor digit': 'debe tener un carácter que no sea letra ni dígito',
  'must have at least {least} different characters': 'debe tener al menos {least} caracteres diferentes',
  'must not contain a part of the name or e-mail': 'no debe contener una parte del nombre ni del correo',
  'must not be one of the commonest passwords, also with digits and signs around it or in place of letters':
    'no debe ser una de las contraseñas más comunes, tampoco con dígitos y signos alrededor o en lugar de letras',
  'must not be made of names of the tenant or the product, or of words that are guessed first, such as seasons and months':
    'no debe componerse de nombres del inquilino o del producto, ni de palabras que se adivinan primero, como estaciones y meses',
  'must not be a sequence or a repetition of a few characters': 'no debe ser una secuencia ni una repetición de pocos caracteres',
  'must not be one that is known from a breach of another service':
    'no debe ser una que se conozca por una filtración de otro servicio',
  'must not be the current password': 'no debe ser la contraseña actual',
  'must not be one of the last passwords': 'no debe ser una de las últimas contraseñas',

  // Registration and recovery.
  'This tenant does not allow registration.': 'Este inquilino no permite registrarse.',
  'is not in a domain that may register here': 'no es de un dominio que pueda registrarse aquí',
  'Another user has this address now.': 'Otro usuario ya tiene esta dirección.',
  'is unknown, used or expired; ask for a new one': 'es desconocido, ya se usó o ha caducado; pide uno nuevo',
  'This password was for a first login, and its time is over: ask for a link with auth/password-reset.':
    'Esta contraseña era para un primer acceso y su plazo ha terminado: pide un enlace con auth/password-reset.',
  'cannot be false for a generated password': 'no puede ser false para una contraseña generada',
  'cannot be given with link_only': 'no se puede dar junto con link_only',
  'must be the six digits that were sent': 'deben ser los seis dígitos que se enviaron',
  'You have no phone number yet: PATCH your user first.': 'Todavía no tienes número de teléfono: añádelo antes con PATCH.',
  'Too many codes were sent within the hour.': 'Se enviaron demasiados códigos en la última hora.',
  'must be the secret that the registration was answered with': 'debe ser el secreto que devolvió el registro',
  'give either registration_secret or new_password': 'indica registration_secret o new_password, uno de los dos',
  'must be left out: this token is for the address of a user, who has a password':
    'debe omitirse: este token es de la dirección de un usuario, que ya tiene contraseña',
  'is wrong, used or expired, or was tried too often; ask for a new one':
    'es incorrecto, ya se usó, ha caducado o se probó demasiadas veces; pide uno nuevo',
  'must be in ASCII: send the punycode form (xn--...)': 'debe estar en ASCII: envía la forma punycode (xn--...)',
  'must be a domain name, such as example.com': 'debe ser un nombre de dominio, como example.com',

  // Users and units.
  'must be an e-mail address': 'debe ser una dirección de correo electrónico',
  'must have its domain in ASCII: send the punycode form (xn--...)':
    'debe tener el dominio en ASCII: envía la forma punycode (xn--...)',
  'must have only ASCII characters before the @': 'debe tener solo caracteres ASCII antes de la @',
  'must begin with a letter or digit, and have letters, digits, ".", "_" and "-" only':
    'debe empezar por una letra o un dígito y tener solo letras, dígitos, ".", "_" y "-"',
  'must not contain invisible characters': 'no debe contener caracteres invisibles',
  'must have a letter, digit or sign': 'debe tener una letra, una cifra o un signo',
  'must not mix Latin, Cyrillic and Greek letters in a word':
    'no debe mezclar letras latinas, cirílicas y griegas en una palabra',
  'must not mix Latin, Cyrillic and Greek letters': 'no debe mezclar letras latinas, cirílicas y griegas',
  'must be a phone number: digits, and "+", blanks, "(", ")", ".", "/" or "-" between them':
    'debe ser un número de teléfono: cifras y, entre ellas, "+", espacios, "(", ")", ".", "/" o "-"',
  'must be a language tag (BCP 47)': 'debe ser una etiqueta de idioma (BCP 47)',
  'must be the name of a time zone (IANA)': 'debe ser el nombre de una zona horaria (IANA)',
  'must be JSON nested at most {depth} deep, without NUL or lone surrogates':
    'debe ser JSON de {depth} niveles como máximo, sin NUL ni sustitutos sueltos',
  'cannot be combined with a sort by created_at': 'no se puede combinar con el orden por created_at',
  'Another user has this {field}.': 'Otro usuario ya tiene este {field}.',
  'is taken': 'está ocupado',
  'is taken under this parent': 'está ocupado bajo esta unidad superior',
  'Another unit under the same parent has this name.': 'Otra unidad bajo la misma unidad superior ya tiene este nombre.',
  'The unit still contains {within}.': 'La unidad todavía contiene {within:parts}.',
  users: 'usuarios',
  units: 'unidades',

  // Roles, permissions, delegations, activities.
  'must be resource:action': 'debe ser recurso:acción',
  'must be resource:action, in lower case': 'debe ser recurso:acción, en minúsculas',
  'is named twice': 'se nombra dos veces',
  'ask for one of permission, any_of, role': 'pregunta por uno solo de permission, any_of y role',
  'Another role has this name.': 'Otro rol tiene este nombre.',
  'name either role_id or permissions': 'indica role_id o permissions, uno de los dos',
  'is after `to`': 'es posterior a `to`',
  'must be words in capitals with _ between them': 'deben ser palabras en mayúsculas separadas por _',
  'must be text without NUL, nested at most {depth} deep': 'debe ser texto sin NUL, con {depth} niveles como máximo',

  // API keys.
  'This cannot be done with an API key: log in.': 'Esto no se puede hacer con una clave de API: inicia sesión.',
  'The API key is malformed: a character is wrong, missing or extra.':
    'La clave de API está mal formada: un carácter es incorrecto, falta o sobra.',
  'This key was rotated before: rotate its successor.': 'Esta clave ya fue rotada: rota su sucesora.',
  'must be an address or a network, such as 192.0.2.0/24 or 2001:db8::/32':
    'debe ser una dirección o una red, como 192.0.2.0/24 o 2001:db8::/32',

  // Browsers: cookies.
  'POST auth/refresh-token with {} for new cookies.': 'Haz POST auth/refresh-token con {} para obtener cookies nuevas.',
  'With cookies a request must come from a page of {origin}, and it has no Origin.':
    'Con cookies, una solicitud debe venir de una página de {origin}, y esta no tiene Origin.',
  'With cookies a request must come from a page of {origin}, and it came from a page of another origin.':
    'Con cookies, una solicitud debe venir de una página de {origin}, y esta vino de una página de otro origen.',
  'The header Cookie is longer than {number} bytes.': 'La cabecera Cookie tiene más de {number} bytes.',
  'There is no cookie for the account in X-Account. Log in.': 'No hay ninguna cookie de la cuenta de X-Account. Inicia sesión.',
  'There is no refresh token in the cookies.': 'No hay ningún token de renovación en las cookies.',
  'This cookie belongs to another account.': 'Esta cookie es de otra cuenta.',
  'X-Account selects a cookie: do not send it with another credential.':
    'X-Account elige una cookie: no la envíes con otra credencial.',
  'X-Account selects a cookie: do not send it with refresh_token.': 'X-Account elige una cookie: no la envíes con refresh_token.',
  '{number} accounts are logged in: choose one with the header X-Account.':
    'Hay {number} cuentas con sesión iniciada: indica cuál con la cabecera X-Account.',
  'works only on {host}; on this host a login returns tokens':
    'solo funciona en {host}; en este host un inicio de sesión devuelve tokens',
  'is missing, and no login cookie was sent instead': 'falta, y no se envió en su lugar ninguna cookie de inicio de sesión',
  'must be https': 'debe ser https',

  // The import of users.
  'Send {type}.': 'Envía {type}.',
  'A file has at most {number} lines: send the rest in another file.':
    'Un archivo tiene como máximo {number} líneas: envía el resto en otro.',
  'The body was cut off after line {line}: send the file again.':
    'El cuerpo se interrumpió tras la línea {line}: envía el archivo de nuevo.',
  '{why} The result of the lines after the last one reported is unknown: send the file again.':
    '{why:parts} Se desconoce el resultado de las líneas posteriores a la última indicada: envía el archivo de nuevo.',
  'is longer than {number} bytes': 'tiene más de {number} bytes',
  'is not valid JSON': 'no es JSON válido',
  'is not accepted in plain text: send password_hash or neither':
    'no se acepta en texto plano: envía password_hash o ninguno de los dos',
  'must be a whole hash of bcrypt ($2a$, $2b$ or $2y$) or of Django (pbkdf2_sha256$)':
    'debe ser un hash completo de bcrypt ($2a$, $2b$ o $2y$) o de Django (pbkdf2_sha256$)',
  'must have a bcrypt cost of at least {least}': 'debe tener un coste de bcrypt de al menos {least}',
  'must have at least {least} iterations': 'debe tener al menos {least} iteraciones',
  'has a bcrypt cost above {most}, so it is not stored: the user has no password until they reset it':
    'tiene un coste de bcrypt superior a {most}, así que no se guarda: el usuario no tiene contraseña hasta que la restablezca',
  'has more than {most} iterations, so it is not stored: the user has no password until they reset it':
    'tiene más de {most} iteraciones, así que no se guarda: el usuario no tiene contraseña hasta que la restablezca',
  'must have a salt of at most {most} characters': 'debe tener una sal de {most} caracteres como máximo',
  'There is no certificate: no tenant with this id was erased.':
    'No hay certificado: no se ha borrado ningún inquilino con este id.',
} as const

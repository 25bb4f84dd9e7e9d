/** Sentences that operators alone are told, about databases that are adopted: as those of the Worker (worker.ts). */
export const operators = {
  'external is for databases that exist: POST /platform/v1/tenants/adopt':
    'external es para bases de datos que ya existen: POST /platform/v1/tenants/adopt',
  'must be a connection string of Postgres, with user, password, host and database':
    'debe ser una cadena de conexión de Postgres, con usuario, contraseña, host y base de datos',
  'has sslmode={mode}, which lets the network read the password: use sslmode=require':
    'tiene sslmode={mode}, con lo que la red puede leer la contraseña: usa sslmode=require',
  'must have the port 5432, or none, as those of Neon': 'debe tener el puerto 5432, o ninguno, como las de Neon',
  'names the host {host}, which is not below {domains}: EXTERNAL_HOSTS has the domains whose hosts speak Neon’s SQL over HTTP':
    'nombra el host {host}, que no está bajo {domains}: EXTERNAL_HOSTS tiene los dominios cuyos hosts hablan el SQL sobre HTTP de Neon',
  'names the host {host}, which is this platform’s own: create a tenant there instead':
    'nombra el host {host}, que es de esta plataforma: crea allí un inquilino en su lugar',
  'names the host {host}, which does not speak Neon’s SQL over HTTP':
    'nombra el host {host}, que no habla el SQL sobre HTTP de Neon',
  'names the database {database}, which is not at {host}': 'nombra la base de datos {database}, que no está en {host}',
  'is not accepted at {host}: the endpoint, the user or the password is not right, or the user may not connect':
    'no se acepta en {host}: el endpoint, el usuario o la contraseña no es correcto, o el usuario no puede conectarse',
  'is not accepted at {host}: {reason}': 'no se acepta en {host}: {reason}',
  'The host {host} does not answer.': 'El host {host} no responde.',
  'must be of the same database, {address}': 'debe ser de la misma base de datos, {address}',
  'The database of this tenant was not adopted.': 'La base de datos de este inquilino no fue adoptada.',
  'The database does not hold this tenant: it is another, or was restored from before.':
    'La base de datos no contiene este inquilino: es otra, o se restauró a un momento anterior.',
  'The database did not say what it is: its host answers something else than was asked.':
    'La base de datos no dijo qué es: su servidor responde otra cosa de lo que se preguntó.',
  'The database could not be inspected. It says: {words}': 'No se pudo inspeccionar la base de datos. Dice: {words}',
  'Transactions of this server only read: its setting default_transaction_read_only is on.':
    'Las transacciones de este servidor solo leen: su ajuste default_transaction_read_only está activado.',
  'The database is of Postgres {version}: it must be of {oldest} to {newest}.':
    'La base de datos es de Postgres {version}: debe ser de {oldest} a {newest}.',
  'The endpoint only reads: give the connection string of the one that writes.':
    'El endpoint solo lee: da la cadena de conexión del que escribe.',
  'The login is a superuser, which may do too much. An administrator must run the statements in `errors`, and set a password.':
    'El login es superusuario y puede demasiado. Un administrador debe ejecutar las sentencias de `errors` y poner una contraseña.',
  'The login has or can become {powers}, which may do too much. An administrator must run the statements in `errors`.':
    'El login tiene o puede llegar a ser {powers}, que puede demasiado. Un administrador debe ejecutar las sentencias de `errors`.',
  'The roles {roles} are there and have privileges that are not of Freehold. An administrator must rename or drop them.':
    'Los roles {roles} ya existen y tienen privilegios que no son de Freehold. Un administrador debe renombrarlos o eliminarlos.',
  'This login may do too little. Give that of {owner}, who owns the database, or have an administrator run the statements in `errors`.':
    'Este login puede demasiado poco. Da el de {owner}, dueño de la base de datos, o haz que un administrador ejecute las sentencias de `errors`.',
  'The database has a schema {name} that is not Freehold’s: it belongs to {owner} and holds {holds}.':
    'La base de datos tiene un esquema {name} que no es de Freehold: pertenece a {owner} y contiene {holds}.',
  'The database is the master of a deployment of Freehold.': 'La base de datos es la maestra de una instalación de Freehold.',
  'The login cannot read Freehold’s schema. An administrator must run the statements in `errors`.':
    'El login no puede leer el esquema de Freehold. Un administrador debe ejecutar las sentencias de `errors`.',
  'The schema of the database was made by a version of Freehold that was never released: it cannot be migrated.':
    'El esquema de la base de datos lo creó una versión de Freehold que nunca se publicó: no se puede migrar.',
  'The schema of the database is of a later release: it has the migration {name}.':
    'El esquema de la base de datos es de una versión posterior: tiene la migración {name}.',
  'The schema of the database is another than that of this release: the migration {name} differs.':
    'El esquema de la base de datos no es el de esta versión: la migración {name} difiere.',
  'The database is that of the tenant {subdomain}.': 'La base de datos es la del inquilino {subdomain}.',
  'The database holds the tenant {subdomain} of another deployment, with {users} users: send take_over to take it from there, whose keys and sessions end.':
    'La base de datos contiene el inquilino {subdomain} de otra instalación, con {users} usuarios: envía take_over para tomarlo de allí, cuyas claves y sesiones terminan.',
  'must be left out: the user is in the database already, and keeps the password':
    'debe omitirse: el usuario ya está en la base de datos y conserva su contraseña',
  'The tenant in the database is one of this platform already.': 'El inquilino de la base de datos ya es uno de esta plataforma.',
  'The database is adopted already.': 'La base de datos ya está adoptada.',
  'must be a date, as 2026-03-31': 'debe ser una fecha, como 2026-03-31',
  'is more than {days} days before `to`': 'es más de {days} días anterior a `to`',
}

/**
 * Words from which people make passwords when a rule asks for more: seasons and months for a change every 90 days, words for a first
 * password, words about work. docs/guides/passwords.md lists them for administrators, and a test compares the two.
 */

/** The name of the product; its own name is what its users think of first. */
export const PRODUCT = 'freehold'

/** In lower case, without accents. The short ones join others: `welcome-to-acme`. */
export const GUESSED_WORDS: Record<string, string> = {
  'seasons and days': `spring summer autumn fall winter monday tuesday wednesday thursday friday saturday sunday
    primavera verano otono invierno lunes martes miercoles jueves viernes sabado domingo`,
  months: `january february march april may june july august september october november december
    enero febrero marzo abril mayo junio julio agosto septiembre setiembre octubre noviembre diciembre`,
  'first passwords': `password passwort passwd passphrase passcode pass pwd secret welcome letmein hello changeme change new default
    initial temporary temp demo access login logon signin enter start test testing example sample guest trustno1 iloveyou qwerty
    contrasena clave secreto secreta bienvenido bienvenida bienvenidos hola cambiame cambiar nueva nuevo temporal inicial acceso
    entrar ingreso prueba ejemplo invitado`,
  people: `admin administrator adminadmin root superuser sysadmin operator owner manager user username support service system master
    administrador administradora administracion operador gerente jefe usuario usuaria soporte servicio sistema maestro`,
  work: `company corporate corporation business office team staff employee customer client tenant account server database cloud
    identity security laboratory lab empresa compania oficina equipo negocio empleado cliente cuenta servidor seguridad identidad
    laboratorio nube`,
  'words between': 'my our the to for and is mi mis su el la los las de del en para',
}

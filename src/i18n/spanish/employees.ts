/** What employees say: English -> Spanish. */
export const employees = {
  'Another employee has this document.': 'Otro empleado tiene este documento.',
  'Another employee has this account.': 'Otro empleado tiene esta cuenta.',
  'This employee has been terminated: undo that first.': 'Este empleado ha sido cesado: anula eso primero.',
  'This employee has not been terminated.': 'Este empleado no ha sido cesado.',
  'This needs the permission employee:update.': 'Esto necesita el permiso employee:update.',
  'Another user must do this to you.': 'Otro usuario debe hacerte esto.',
  'must be a date like 2026-03-01': 'debe ser una fecha como 2026-03-01',
  'lies in the future': 'está en el futuro',
  'is after the end of this employment': 'es posterior al fin de este empleo',
  'lies before the beginning of this employment': 'es anterior al comienzo de este empleo',
  'makes more than 400 steps': 'da más de 400 pasos',
  'must be a country of ISO 3166, like PE': 'debe ser un país de ISO 3166, como PE',
}

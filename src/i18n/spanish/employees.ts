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
  'This needs the permission employee:create.': 'Esto necesita el permiso employee:create.',
  'You can only create employees in units that are within your scope.':
    'Solo puedes crear empleados en unidades que estén en tu ámbito.',
  'is the name of more than one unit: send unit_id': 'es el nombre de más de una unidad: envía unit_id',
  'stands beside unit_id: send one of both': 'está junto a unit_id: envía uno de los dos',
  'stands beside user_id: send one of both': 'está junto a user_id: envía uno de los dos',
  'is not UTF-8: save the file as CSV in UTF-8': 'no es UTF-8: guarda el archivo como CSV en UTF-8',
  'is missing: the first row names the columns': 'falta: la primera fila nombra las columnas',
  'is not a column that these files have': 'no es una columna que tengan estos archivos',
  'has a quote in the middle of a value': 'tiene una comilla en medio de un valor',
  'has a quote that does not end': 'tiene una comilla que no termina',
  'has {number} values for {columns} columns': 'tiene {number} valores para {columns} columnas',
  'The quote on line {line} does not end: nothing after it was read.':
    'La comilla de la línea {line} no termina: no se leyó nada después.',
}

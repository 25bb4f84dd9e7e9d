/** What competencies say: English -> Spanish. */
export const competencies = {
  'Another type of competency has this name.': 'Otro tipo de competencia tiene este nombre.',
  'This type of competency was retired.': 'Este tipo de competencia se ha retirado.',
  'A role demands this competency for a permission: change that role first.':
    'Un rol exige esta competencia para un permiso: cambia antes ese rol.',
  'This competency was verified or revoked: record another one.': 'Esta competencia fue verificada o revocada: registra otra.',
  'This competency was verified or revoked, and is kept.': 'Esta competencia fue verificada o revocada, y se conserva.',
  'This competency was verified already.': 'Esta competencia ya fue verificada.',
  'This competency was revoked.': 'Esta competencia fue revocada.',
  'This competency has expired.': 'Esta competencia ha vencido.',
  'Another user must judge your competencies.': 'Otro usuario debe juzgar tus competencias.',
  'You have this power from the holder of the competency: another user must judge it.':
    'Tienes este poder de quien tiene la competencia: otro usuario debe juzgarla.',
  'This needs the permission competency:verify.': 'Esto necesita el permiso competency:verify.',
  'This needs the permission competency:delete.': 'Esto necesita el permiso competency:delete.',
  'Exporting competencies needs competency:export.': 'Exportar competencias necesita competency:export.',
  'is not a type of competency in use': 'no es un tipo de competencia en uso',
  'is not after the competency was issued': 'no es posterior a la emisión de la competencia',
  'must be a timestamp or a date as in RFC 3339': 'debe ser una marca de tiempo o una fecha como en RFC 3339',
  'must be an address that begins with https://': 'debe ser una dirección que empiece por https://',
  'must be ids of types, with commas between them': 'deben ser ids de tipos, con comas entre ellos',
  'is needed: there are more than 200 types, so name some of them, or a kind':
    'es necesario: hay más de 200 tipos, así que nombra algunos, o una clase',
}

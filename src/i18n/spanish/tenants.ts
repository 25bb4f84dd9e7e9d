/** What the Worker says of where a tenant may be, of moves and of undos of migrations: as worker.ts, of which it is a part. */
export const tenants = {
  'The tenant is being moved.': 'El inquilino se está moviendo.',
  'A tenant of isolation branch cannot be moved: those of isolation database and project can.':
    'Un inquilino con aislamiento branch no se puede mover: los de aislamiento database y project sí.',
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
} as const

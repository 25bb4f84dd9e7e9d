/** What the doctor says when it fixes nothing, as in worker.ts. */
export const doctor = {
  'must be the name of what is deleted: deleting cannot be undone':
    'debe ser el nombre de lo que se borra: el borrado no se puede deshacer',
  'The doctor does not find this any more: nothing was done.': 'El doctor ya no encuentra esto: no se hizo nada.',
  'The host is gone.': 'El host ya no está.',
  'This is the database of the host itself.': 'Esta es la base de datos del propio host.',
  'A tenant has this database now, or another one of this host is being deleted.':
    'Ahora un inquilino tiene esta base de datos, o se está borrando otra de este host.',
  'The database holds the data of the tenant {name}.': 'La base de datos contiene los datos del inquilino {name}.',
  'A tenant has this branch.': 'Un inquilino tiene esta rama.',
  'This is no login of a tenant.': 'Este no es el acceso de ningún inquilino.',
  'A tenant has this login.': 'Un inquilino tiene este acceso.',
  'A database still uses this login: delete that first.': 'Una base de datos aún usa este acceso: bórrala primero.',
  'A host has this project now.': 'Ahora un host tiene este proyecto.',
  'It may not have been deleted: {reason}': 'No es seguro que se haya borrado: {reason}',
  'The project has operations under way.': 'El proyecto tiene operaciones en curso.',
  'The project has {count} branches, which tenants may have. Delete it at Neon, if it is yours.':
    'El proyecto tiene {count} ramas, que pueden ser de inquilinos. Bórralo en Neon, si es tuyo.',
  'The database {name} is a master. Delete the project at Neon, if it is yours.':
    'La base de datos {name} es una maestra. Borra el proyecto en Neon, si es tuyo.',
  'It holds the data of the tenant {id}, which this master did not erase. Delete it at Neon, if it is yours.':
    'Contiene los datos del inquilino {id}, que esta maestra no eliminó. Bórralo en Neon, si es tuyo.',
  'Nothing was done: {reason}': 'No se hizo nada: {reason}',
} as const

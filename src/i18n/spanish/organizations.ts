/** What organizations say: English -> Spanish. */
export const organizations = {
  'Another organization has this name.': 'Otra organización tiene este nombre.',
  'You have power over users that whoever invited you lacks there: an administrator must move you.':
    'Usted tiene poder sobre usuarios que quien le invitó no tiene allí: un administrador debe trasladarle.',
  'This user is an employee who was terminated: undo that first.':
    'Este usuario es un empleado que ha cesado: deshaga eso primero.',
  'This user is an employee whose employment ends before: undo that first.':
    'Este usuario es un empleado cuyo empleo termina antes: deshaga eso primero.',
  'You would read what you may not read of this employee: somebody else must do this.':
    'Leería de este empleado lo que no puede leer: otra persona debe hacerlo.',
  'This needs access to the whole tenant.': 'Esto necesita acceso a todo el inquilino.',
  'This organization is being wiped out.': 'Esta organización se está eliminando.',
  'This needs access to all organizations.': 'Esto necesita acceso a todas las organizaciones.',
  'The limit max_organizations is reached: this tenant can have at most {most} organizations.':
    'Se alcanzó el límite max_organizations: este inquilino puede tener como máximo {most} organizaciones.',
  'The limit of this organization is reached: it can have at most {most} active users.':
    'Se alcanzó el límite de esta organización: puede tener como máximo {most} usuarios activos.',
  'is not an organization that you can access': 'no es una organización a la que tengas acceso',
  'is not a unit of the organization of this user': 'no es una unidad de la organización de este usuario',
  'is not the organization of this user': 'no es la organización de este usuario',
  'You assign and remove roles within your organization only: name it as organization_id.':
    'Asignas y quitas roles solo dentro de tu organización: nómbrala como organization_id.',
  'This unit is an organization: change the organization instead.':
    'Esta unidad es una organización: cambia la organización en su lugar.',
  'This unit is an organization: delete the organization instead.':
    'Esta unidad es una organización: elimina la organización en su lugar.',
  'More than 1,000 users are in this unit: move them to the other organization first.':
    'En esta unidad hay más de 1000 usuarios: muévelos antes a la otra organización.',
  'Moving units into an organization needs unit:update.': 'Mover unidades a una organización necesita unit:update.',
  'has a unit that is not of this tenant': 'tiene una unidad que no es de este inquilino',
  'must not have a unit twice': 'no debe tener una unidad dos veces',
  'There is no organization with this id.': 'No hay ninguna organización con este id.',
  'must be the name of the organization: wiping it out cannot be undone':
    'debe ser el nombre de la organización: eliminarla no se puede deshacer',
  'This changes users, which needs {permission}.': 'Esto cambia usuarios, lo que necesita {permission}.',
  'You belong to this organization: somebody else must wipe it out.':
    'Perteneces a esta organización: debe eliminarla otra persona.',
  'must be organization, invitations, or both with a comma': 'debe ser organization, invitations, o ambos con una coma',
}

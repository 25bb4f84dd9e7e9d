/** Sentences of invitations (src/invitations) and of the groups of a person (src/roles/groups.sql): English -> Spanish. */
export const invitations = {
  'Inviting needs invitation:create.': 'Para invitar hace falta invitation:create.',
  'Changing an invitation needs {permission}.': 'Para cambiar una invitación hace falta {permission}.',
  '{role} is not a manageable role of this tenant': '{role} no es un rol administrable de este inquilino',
  'is your own address': 'es tu propia dirección',
  'Somebody with this address is a member already.': 'Alguien con esta dirección ya es miembro.',
  'Somebody with this address has an account that is not active.':
    'Alguien con esta dirección tiene una cuenta que no está activa.',
  'An invitation of this address is open: send it again, or revoke it.':
    'Ya hay una invitación abierta para esta dirección: vuelve a enviarla o revócala.',
  'The limit max_users is reached: this tenant can have at most {most} active users, open invitations included.':
    'Se alcanzó el límite max_users: este inquilino puede tener como máximo {most} usuarios activos, incluidas las invitaciones abiertas.',
  'You can send at most {most} invitations within an hour.': 'Puedes enviar como máximo {most} invitaciones en una hora.',
  'This address was mailed too often, or the tenant has sent all mails of today: try again later.':
    'Se ha enviado demasiado correo a esta dirección, o el inquilino ya ha enviado todo el de hoy: inténtalo más tarde.',
  'You do not hold everything that the role {role} carries, as far as it would reach: you cannot give it.':
    'No tienes todo lo que lleva el rol {role}, hasta donde llegaría: no puedes darlo.',
  'is not a unit of this organization': 'no es una unidad de esta organización',
  'The limit of this organization is reached: it can have at most {most} active users, open invitations included.':
    'Se alcanzó el límite de esta organización: puede tener como máximo {most} usuarios activos, incluidas las invitaciones abiertas.',
  'is not an organization that you can access': 'no es una organización a la que tengas acceso',
  'There is no invitation with this id.': 'No hay ninguna invitación con este id.',
  'This invitation was accepted, revoked or replaced.': 'Esta invitación se aceptó, se revocó o se sustituyó.',
  'An invitation is accepted with a session, not with an API key.':
    'Una invitación se acepta con una sesión, no con una clave de API.',
  'is in place of a password: send one of them': 'va en lugar de una contraseña: envía una de las dos',
  'This address has an account: log in with it, then accept the invitation.':
    'Esta dirección tiene una cuenta: entra con ella y luego acepta la invitación.',
  'This invitation is for another address.': 'Esta invitación es para otra dirección.',
  'Whoever invited you cannot give these roles any more: ask for another invitation.':
    'Quien te invitó ya no puede dar estos roles: pide otra invitación.',
}

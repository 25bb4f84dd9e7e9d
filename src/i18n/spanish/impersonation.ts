/** Sentences of acting as somebody else (src/impersonation): English -> Spanish. */
export const impersonation = {
  'This cannot be done while you impersonate somebody.': 'Esto no se puede hacer mientras actúas como otra persona.',
  'You cannot impersonate yourself.': 'No puedes actuar como tú mismo.',
  'This user is not active or has no role: nobody can log in as them.':
    'Esta persona no está activa o no tiene ningún rol: nadie puede entrar como ella.',
  'You do not hold this permission as far as the user whom you impersonate.':
    'No tienes este permiso con el alcance de la persona como la que actúas.',
}

/** Sentences of notifications (src/notifications): English -> Spanish. */
export const notifications = {
  'You have {streams} streams open already: close one.': 'Ya tienes {streams} flujos abiertos: cierra uno.',
}

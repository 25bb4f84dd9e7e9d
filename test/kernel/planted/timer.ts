/** A mistake made on purpose: production does not start a Worker that starts a timer while it is loaded. */
export const timer = setTimeout(() => {}, 1)

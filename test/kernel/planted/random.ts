/** A mistake made on purpose: production does not start a Worker that asks for a random value while it is loaded. */
export const id = crypto.randomUUID()

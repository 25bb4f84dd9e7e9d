/** What operations on events, webhooks and risk say of themselves, beneath their summaries. */
export const events = {
  listEvents:
    'Returns what the audit recorded, in order, each with its number (`seq`), its checkpoint and the hash before it. Ask again with `next_after`; an empty page says that there is nothing newer. Nothing is left out and nothing comes in between afterwards. Reading is not recorded. With details a page has at most 20.',
  listWebhooks: 'Returns all of them, without secrets; there are 20 at most.',
  createWebhook:
    'Events are sent from now on, in order, signed as Standard Webhooks has it, and again until they are answered with 2xx. It takes `activity:export` at scope `all`, too.',
  getWebhook: 'Returns a webhook without its secret.',
  updateWebhook:
    'Fields that are left out stay. With `is_paused: false` it goes on where it stopped. To pause one takes no `activity:export`.',
  deleteWebhook: 'Nothing is sent to it any more.',
  rotateWebhookSecret:
    'Returns the new secret, once, and the new public key. For 24 hours each message has signatures by either.',
  testWebhook: 'Sends a message of type `webhook.test`, waits for the answer for at most 10 s, and returns what became of it.',
  replayWebhook: 'Events are sent in order again, under the same ids, as far as they are among its kinds.',
  rehearseRisk:
    'Returns how many attempts and people would be suspicious, stopped and annoyed, under the settings as they are and under those of the request. Nothing changes. Fields that are left out are as they are set.',
  listHooks: 'Returns all of them, without secrets. For each act one is asked; others are paused.',
  createHook:
    'From now on it is asked before each such act, signed as Standard Webhooks has it, and answers within 2 s `{"decision": "allow"}` or `{"decision": "deny", "reason"}`; a login also with `claims`, which are the claim `ext` of access tokens. It takes `activity:export` at scope `all`, too.',
  getHook: 'Returns a hook without its secret.',
  updateHook: 'Fields that are left out stay. To pause one takes no `activity:export`.',
  deleteHook: 'Everything goes on without it.',
  rotateHookSecret: 'Returns the new secret, once. For 24 hours each message has a signature by either.',
  testHook: 'Sends a message with `is_test`, waits for the answer for at most 2 s, and returns what it was.',
  listDeliveries: 'Returns the attempts of the last 90 days, and up to which event all were accepted.',
}

"""Twilio as a carrier: webhooks, TwiML and the Media Streams protocol."""

"""The hosted preference page: a person sees and changes what they allow, without an app's screens and without a log-in.

Opened by a signed link that the app asks for; plain HTML forms, no script.
"""

from geo_offers.web.preferences.pages import CALLS, mount

__all__ = ["CALLS", "mount"]

"""Planning: a day's routes of the trucks of one stream, checked before anybody drives them."""

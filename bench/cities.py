"""Where the load lies: middles of real cities on all continents, to about a kilometre; none within a degree of 180."""

from typing import Final

_TABLE: Final = """
Tokyo 35.68 139.69|Delhi 28.61 77.21|Shanghai 31.23 121.47|Sao Paulo -23.55 -46.63|Mexico City 19.43 -99.13
Cairo 30.04 31.24|Mumbai 19.08 72.88|Beijing 39.90 116.40|Dhaka 23.81 90.41|Osaka 34.69 135.50
New York 40.71 -74.01|Karachi 24.86 67.00|Buenos Aires -34.60 -58.38|Chongqing 29.56 106.55|Istanbul 41.01 28.98
Kolkata 22.57 88.36|Manila 14.60 120.98|Lagos 6.52 3.38|Rio de Janeiro -22.91 -43.17|Kinshasa -4.32 15.31
Los Angeles 34.05 -118.24|Moscow 55.76 37.62|Lahore 31.55 74.34|Bangalore 12.97 77.59|Paris 48.86 2.35
Bogota 4.71 -74.07|Jakarta -6.21 106.85|Chennai 13.08 80.27|Lima -12.05 -77.04|Bangkok 13.76 100.50
Seoul 37.57 126.98|Nagoya 35.18 136.91|Hyderabad 17.39 78.49|London 51.51 -0.13|Tehran 35.69 51.39
Chicago 41.88 -87.63|Chengdu 30.57 104.07|Ho Chi Minh City 10.82 106.63|Luanda -8.84 13.23|Ahmedabad 23.02 72.57
Kuala Lumpur 3.14 101.69|Hong Kong 22.32 114.17|Riyadh 24.71 46.68|Baghdad 33.31 44.37|Santiago -33.45 -70.67
Madrid 40.42 -3.70|Toronto 43.65 -79.38|Singapore 1.35 103.82|Johannesburg -26.20 28.05|Dar es Salaam -6.79 39.21
Barcelona 41.39 2.17|St Petersburg 59.93 30.34|Sydney -33.87 151.21|Melbourne -37.81 144.96|Berlin 52.52 13.41
Rome 41.90 12.50|Athens 37.98 23.73|Lisbon 38.72 -9.14|Vienna 48.21 16.37|Hamburg 53.55 9.99
Munich 48.14 11.58|Cologne 50.94 6.96|Frankfurt 50.11 8.68|Bremen 53.08 8.80|Leipzig 51.34 12.37
Dresden 51.05 13.74|Stuttgart 48.78 9.18|Hanover 52.38 9.73|Nuremberg 49.45 11.08|Warsaw 52.23 21.01
Krakow 50.06 19.94|Prague 50.08 14.44|Budapest 47.50 19.04|Bucharest 44.43 26.10|Sofia 42.70 23.32
Belgrade 44.79 20.45|Zagreb 45.82 15.98|Kyiv 50.45 30.52|Minsk 53.90 27.57|Vilnius 54.69 25.28
Riga 56.95 24.11|Tallinn 59.44 24.75|Helsinki 60.17 24.94|Stockholm 59.33 18.07|Oslo 59.91 10.75
Copenhagen 55.68 12.57|Gothenburg 57.71 11.97|Bergen 60.39 5.32|Reykjavik 64.15 -21.94|Dublin 53.35 -6.26
Edinburgh 55.95 -3.19|Glasgow 55.86 -4.25|Manchester 53.48 -2.24|Birmingham 52.49 -1.90|Leeds 53.80 -1.55
Amsterdam 52.37 4.90|Rotterdam 51.92 4.48|Brussels 50.85 4.35|Antwerp 51.22 4.40|Luxembourg 49.61 6.13
Zurich 47.38 8.54|Geneva 46.20 6.14|Lyon 45.76 4.84|Marseille 43.30 5.37|Toulouse 43.60 1.44
Bordeaux 44.84 -0.58|Milan 45.46 9.19|Turin 45.07 7.69|Naples 40.85 14.27|Palermo 38.12 13.36
Seville 37.39 -5.98|Valencia 39.47 -0.38|Porto 41.15 -8.61|Casablanca 33.57 -7.59|Algiers 36.75 3.06
Tunis 36.81 10.18|Tripoli 32.89 13.19|Accra 5.60 -0.19|Abidjan 5.36 -4.01|Dakar 14.72 -17.47
Nairobi -1.29 36.82|Addis Ababa 9.01 38.75|Kampala 0.35 32.58|Khartoum 15.50 32.56|Harare -17.83 31.05
Lusaka -15.39 28.32|Cape Town -33.92 18.42|Durban -29.86 31.02|Antananarivo -18.88 47.51|Tel Aviv 32.09 34.78
Amman 31.95 35.93|Beirut 33.89 35.50|Ankara 39.93 32.86|Izmir 38.42 27.14|Tbilisi 41.72 44.83
Baku 40.41 49.87|Yerevan 40.18 44.51|Dubai 25.20 55.27|Doha 25.29 51.53|Kuwait City 29.38 47.99
Muscat 23.59 58.41|Tashkent 41.30 69.24|Almaty 43.24 76.89|Kabul 34.56 69.21|Islamabad 33.68 73.05
Kathmandu 27.72 85.32|Colombo 6.93 79.86|Yangon 16.87 96.20|Hanoi 21.03 105.85|Phnom Penh 11.56 104.92
Taipei 25.03 121.57|Busan 35.18 129.08|Fukuoka 33.59 130.40|Sapporo 43.06 141.35|Ulaanbaatar 47.89 106.91
Novosibirsk 55.03 82.92|Yekaterinburg 56.84 60.61|Kazan 55.80 49.11|Vladivostok 43.12 131.89|Perth -31.95 115.86
Brisbane -27.47 153.03|Adelaide -34.93 138.60|Auckland -36.85 174.76|Wellington -41.29 174.78|Honolulu 21.31 -157.86
San Francisco 37.77 -122.42|Seattle 47.61 -122.33|Vancouver 49.28 -123.12|Calgary 51.05 -114.07|Denver 39.74 -104.99
Phoenix 33.45 -112.07|Dallas 32.78 -96.80|Houston 29.76 -95.37|Atlanta 33.75 -84.39|Miami 25.76 -80.19
Boston 42.36 -71.06|Philadelphia 39.95 -75.17|Washington 38.91 -77.04|Detroit 42.33 -83.05|Minneapolis 44.98 -93.27
Montreal 45.50 -73.57|Guadalajara 20.66 -103.35|Monterrey 25.69 -100.32|Havana 23.11 -82.37|Guatemala City 14.63 -90.51
Panama City 8.98 -79.52|Caracas 10.48 -66.90|Medellin 6.24 -75.58|Quito -0.18 -78.47|Guayaquil -2.19 -79.89
La Paz -16.49 -68.12|Asuncion -25.26 -57.58|Montevideo -34.90 -56.16|Cordoba -31.42 -64.18|Rosario -32.94 -60.65
Brasilia -15.79 -47.88|Salvador -12.97 -38.50|Recife -8.05 -34.88|Fortaleza -3.73 -38.53|Porto Alegre -30.03 -51.22
"""


def _read(table: str) -> tuple[tuple[str, float, float], ...]:
    rows = (entry.rsplit(" ", 2) for line in table.split("\n") for entry in line.split("|") if entry)
    return tuple((name, float(lat), float(lon)) for name, lat, lon in rows)


CITIES: Final = _read(_TABLE)
"""Name, lat, lon."""

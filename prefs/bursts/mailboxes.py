"""Mailbox providers that anybody can have an address with."""

import re

_PUBLIC = """
gmail.com googlemail.com icloud.com me.com mac.com mail.com email.com usa.com aim.com
comcast.net verizon.net att.net sbcglobal.net bellsouth.net cox.net charter.net
optonline.net earthlink.net frontier.com windstream.net juno.com netzero.net rr.com
spectrum.net rogers.com shaw.ca sympatico.ca bell.net telus.net videotron.ca cogeco.ca
proton.me protonmail.com pm.me tutanota.com tuta.com tuta.io fastmail.com fastmail.fm
hey.com zoho.com hushmail.com mailbox.org posteo.de duck.com mozmail.com
privaterelay.appleid.com web.de t-online.de freenet.de arcor.de online.de 1und1.de mail.de
vodafone.de kabelmail.de orange.fr wanadoo.fr free.fr sfr.fr laposte.net neuf.fr bbox.fr
numericable.fr btinternet.com sky.com virginmedia.com ntlworld.com blueyonder.co.uk
talktalk.net tiscali.co.uk plus.net eircom.net libero.it virgilio.it tiscali.it alice.it
tim.it tin.it fastwebnet.it aruba.it telefonica.net terra.es sapo.pt ziggo.nl kpnmail.nl
planet.nl hetnet.nl home.nl xs4all.nl telenet.be skynet.be proximus.be bluewin.ch hispeed.ch
a1.net chello.at telia.com comhem.se online.no mail.dk wp.pl o2.pl onet.pl interia.pl op.pl
seznam.cz centrum.cz email.cz azet.sk freemail.hu citromail.hu abv.bg mail.bg ukr.net i.ua
mail.ru bk.ru inbox.ru list.ru internet.ru ya.ru rambler.ru qq.com foxmail.com 163.com
126.com yeah.net sina.com sina.cn sohu.com aliyun.com 139.com naver.com hanmail.net daum.net
nate.com kakao.com docomo.ne.jp ezweb.ne.jp au.com softbank.ne.jp i.softbank.jp nifty.com
ocn.ne.jp biglobe.ne.jp rediffmail.com uol.com.br bol.com.br terra.com.br ig.com.br
globo.com walla.co.il walla.com bigpond.com bigpond.net.au optusnet.com.au iinet.net.au
tpg.com.au xtra.co.nz
"""
PUBLIC = frozenset(_PUBLIC.split())
PUBLIC_IN_COUNTRIES = re.compile(
    r"(?:yahoo|ymail|rocketmail|hotmail|outlook|live|msn|windowslive|aol|gmx|yandex)"
    r"\.(?:com?\.)?[a-z]{2,3}"
)
"""Mailbox providers that anybody can have an address with: after a big send, thousands of their
users may well leave within one minute. One that is missing here is flagged too often, and
nothing follows from a flag."""
